"""Prints the GraphQL schema.

`python -m dianhuan_hub.api > core/hub/schema.graphql` renews the copy in the repository.
"""

from dianhuan_hub.api import build_schema

print(build_schema().as_str())

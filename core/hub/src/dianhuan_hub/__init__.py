"""The Dianhuan city hub: kernel, store, intake, screening, cases, API and command line."""

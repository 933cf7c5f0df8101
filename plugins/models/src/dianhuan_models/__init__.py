"""The warning models of Dianhuan."""

"""The packaged configuration: YAML files, and JSON Schemas for editors."""

"""From YAML files to entries: one strict reader of text, three schemas."""

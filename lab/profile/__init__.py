"""What a guest is made of: models, YAML loading, JSON schema."""

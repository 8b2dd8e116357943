"""A wheel at rest: read strictly, written by splicing; its name, METADATA, WHEEL and RECORD."""

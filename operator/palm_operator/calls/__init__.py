"""Oracle calls: which a Portfolio needs, what S3 says of them, and which come next. Pure."""

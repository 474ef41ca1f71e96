"""What an answer must look like, as grammars that llguidance follows token by token."""

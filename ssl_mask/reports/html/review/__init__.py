"""`sslmask review`: labels that are probably wrong, one question after the other."""

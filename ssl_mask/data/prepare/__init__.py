"""Photos of people made ready: which model finds the face, what is cut out, and what is written down about it."""

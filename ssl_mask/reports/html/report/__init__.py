"""`sslmask report`: a run or a study, and what to do next."""

"""`sslmask explore`: what a data set is like, before anything is trained."""

"""`python -m ssl_mask` is `sslmask`, so that `accelerate launch -m ssl_mask train` works."""

from ssl_mask.cli.app import main

if __name__ == "__main__":
    main()

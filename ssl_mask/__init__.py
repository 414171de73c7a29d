"""sslmask: semi-supervised image classification: few labels, many unlabeled images, and a leakage check on every score.

The public door. `__init__.pyi` lists its names, for type checkers and for this file: each is imported when it is first
used, so that importing the package, and with it `sslmask --help`, loads no torch. What a function here takes or returns
is here too.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""`python -m gslb.cli`."""

import sys

from gslb.cli.main import main

sys.exit(main())

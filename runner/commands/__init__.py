"""The commands: each parses its options, calls one function of runner.api, and prints the answer.

Nothing here is imported that takes long: a command imports what it needs when it runs.
"""

from __future__ import annotations

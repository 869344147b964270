"""A study as one self-contained page to open, keep and send."""

from ntkspec.extras import needs

with needs("app", "jinja2", "matplotlib"):
    from ntkspec.report._build import write

__all__ = ["write"]

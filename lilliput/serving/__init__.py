"""A bundle behind HTTP: JSON in, JSON out, with limits, metrics and a page to try it.

``app(model)`` is a FastAPI application that can also be mounted in an app of one's own. Needs the extra ``[serve]``.
"""

from lilliput.serving.app import Limits, app

__all__ = ["Limits", "app"]

"""Django with nothing of ours around it: its own view of static files, over their sources."""

import os

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "protipp.settings")

application = StaticFilesHandler(get_wsgi_application())

"""Pages of the site that are made from the code, each by one module here."""

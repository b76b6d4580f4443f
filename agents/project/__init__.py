"""Files of a new project, as `steptool new` writes them."""

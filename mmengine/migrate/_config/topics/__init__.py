"""One module for each part of a legacy config that becomes a part of a new one."""

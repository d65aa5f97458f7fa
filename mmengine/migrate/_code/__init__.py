"""Code of MMCV 1.x rewritten for this engine; needs libcst, which is imported when it is used."""

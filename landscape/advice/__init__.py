"""Answer "which method suits each bit width, before anything is calibrated or trained?"."""

"""Keep results in files of strict JSON, and read them back as they were."""

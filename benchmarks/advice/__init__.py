"""Hold the advice of `landscape advise` against what each way to quantize then gave."""

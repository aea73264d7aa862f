"""Why an object is not where it should be, in sentences: for the command line, the API's `why` and tools of one's own. Pure."""

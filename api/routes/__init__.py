"""The endpoints: a module for those of types and words, of the pipeline, of all counts at once, and of health."""

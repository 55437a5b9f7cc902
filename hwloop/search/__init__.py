"""The search: spaces, methods, the study, the log, the run folder. pymoo is loaded with the method that needs it."""

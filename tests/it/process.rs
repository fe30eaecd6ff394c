//! The real program: the command line, the private PostgreSQL, signals.

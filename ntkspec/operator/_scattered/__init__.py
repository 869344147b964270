"""A kernel on scattered points: exact entries, or a Fourier series with a bound on its error."""

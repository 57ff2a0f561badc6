"""Providers: what answers a request. One seam (`base.Provider`), one file per kind."""

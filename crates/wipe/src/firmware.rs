//! The device's own erasure: what it can is asked, never tried; what it says is evidence of nothing.

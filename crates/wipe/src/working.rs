//! `working`: clears tables and signatures wherever they can be, and looks whether any is left.

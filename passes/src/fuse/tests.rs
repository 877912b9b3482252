//! Tests of fusion decisions.

//! Temporary: facets that are being written.
macro_rules! pending_samples {
    ($($t:ident),*) => { $(impl crate::ops::OpSamples for $t {
        fn samples() -> Vec<crate::ops::Sample> { Vec::new() }
        fn bad_samples() -> Vec<crate::ops::BadSample> { Vec::new() }
    })* };
}
pub(crate) use pending_samples;
macro_rules! pending_rest {
    () => {
        fn doc(&self) -> crate::ops::OpDoc {
            unimplemented!()
        }
        fn vjp(
            &self,
            _b: &mut dyn crate::ops::Emit,
            _c: &crate::ops::VjpContext<'_>,
        ) -> Result<crate::ops::PerOperand, crate::NotDifferentiable> {
            unimplemented!()
        }
        fn jvp(
            &self,
            _b: &mut dyn crate::ops::Emit,
            _o: &[crate::graph::Value],
            _r: &[crate::graph::Value],
            _t: &[Option<crate::graph::Value>],
        ) -> Result<Option<crate::graph::Value>, crate::NotDifferentiable> {
            unimplemented!()
        }
        fn batch(
            &self,
            _b: &mut dyn crate::ops::Emit,
            _o: &[crate::graph::Value],
            _a: &[Option<usize>],
            _s: &crate::Dim,
        ) -> crate::graph::Value {
            unimplemented!()
        }
    };
}
pub(crate) use pending_rest;

/// Declares, in an `impl Rule`, which options of a rule a schedule or the frame must know: the learning rate, what is
/// cycled as its momentum, and whether it goes up the gradient.
///
/// ```text
/// scheduled! { lr, momentum: betas.0, maximize }
/// ```
macro_rules! scheduled {
    (lr $(, $($rest:tt)+)?) => {
        fn lr(&self) -> f64 {
            self.lr
        }

        fn lr_mut(&mut self) -> &mut f64 {
            &mut self.lr
        }

        $(scheduled! { $($rest)+ })?
    };
    (momentum: $($momentum:tt).+ $(, $($rest:tt)+)?) => {
        fn momentum_mut(&mut self) -> Option<&mut f64> {
            Some(&mut self.$($momentum).+)
        }

        $(scheduled! { $($rest)+ })?
    };
    (maximize) => {
        fn maximize(&self) -> bool {
            self.maximize
        }
    };
}

pub(crate) use scheduled;

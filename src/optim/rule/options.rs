/// Declares, in an `impl Rule`, the options that schedules and the frame must know: the learning rate, the option
/// cycled as momentum, and whether the rule maximizes.
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

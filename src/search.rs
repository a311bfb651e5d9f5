//! Search without gradients: populations on the device, and methods that improve them.

pub mod objective;

pub use objective::{DeviceObjective, Objective, Population};

use super::{Made, Op, Reads, column_constants, grid};
use crate::Error;
use crate::gpu::{Binding, uniform};
use crate::graph::Var;
use crate::graph::lower::{Lowering, source};
use crate::graph::shape::{Matrix, u};
use crate::graph::template::expand;

uniform! {
    pub(crate) struct Shape { quads: u32 }
}
uniform! {
    pub(crate) struct GradShape { quads: u32, accumulate: u32 }
}

/// A function of each element alone: a file of `shaders/pointwise/` with the function and its derivative.
#[derive(Debug)]
struct Pointwise {
    name: &'static str,
    wgsl: &'static str,
    /// The function in f64, if the host has it.
    on_host: Option<fn(f64) -> f64>,
}

macro_rules! pointwise {
    ($name:literal, $on_host:expr) => {
        Pointwise {
            name: $name,
            wgsl: include_str!(concat!("../../../shaders/pointwise/", $name, ".wgsl")),
            on_host: $on_host,
        }
    };
}

impl Var {
    /// `1 / (1 + exp(-x))` of each element, as torch's `sigmoid`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Sigmoid.html>.
    #[must_use]
    pub fn sigmoid(&self) -> Var {
        self.unary(pointwise!("sigmoid", Some(|x| 1.0 / (1.0 + (-x).exp()))))
    }

    /// The hyperbolic tangent of each element, as torch's `tanh`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Tanh.html>.
    #[must_use]
    pub fn tanh(&self) -> Var {
        self.unary(pointwise!("tanh", Some(f64::tanh)))
    }

    /// `x / 2 * (1 + erf(x / sqrt(2)))` of each element, as torch's `gelu` with `approximate="none"`, its default.
    ///
    /// As there, minus infinity gives NaN.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.GELU.html>; Hendrycks and Gimpel 2016,
    /// arXiv:1606.08415.
    #[must_use]
    pub fn gelu(&self) -> Var {
        self.unary(pointwise!("gelu", None))
    }

    /// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))` of each element, as torch's `gelu` with
    /// `approximate="tanh"`.
    ///
    /// As there, minus infinity gives NaN.
    ///
    /// Source: as [`Var::gelu`].
    #[must_use]
    pub fn gelu_tanh(&self) -> Var {
        self.unary(pointwise!("gelu_tanh", Some(gelu_tanh)))
    }
}

fn gelu_tanh(x: f64) -> f64 {
    let root = std::f64::consts::FRAC_2_PI.sqrt();
    x / 2.0 * (1.0 + (root * (x + 0.044715 * x.powi(3))).tanh())
}

impl Pointwise {
    /// One of the two frames, joined with the function.
    fn join(&self, frame: &str, matrix: Matrix) -> String {
        let parts = [
            frame,
            self.wgsl,
            include_str!("../../../shaders/shared/columns.wgsl"),
            include_str!("../../../shaders/shared/math.wgsl"),
        ];
        expand(&parts.concat(), &column_constants(matrix), &[])
    }
}

impl Op for Pointwise {
    fn kind(&self) -> &'static str {
        self.name
    }

    fn infer(&self, _: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        Ok(inputs[0].to_vec())
    }

    fn of_scalars(&self, inputs: &[f64]) -> Option<f64> {
        self.on_host.map(|function| function(inputs[0]))
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::AsMade
    }

    fn makes(&self) -> Made {
        Made::AsInputs
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let matrix = lowering.matrix(id);
        let x = lowering.argument(id, 0);
        let y = lowering.define(id);
        let wgsl = self.join(include_str!("../../../shaders/ops/pointwise.wgsl"), matrix);
        let name = format!("pointwise[{}]", self.name);
        let kernel = source::<Shape>(name, wgsl, &[Binding::Read, Binding::ReadWrite]);
        let shape = Shape { quads: u(matrix.quads()) };
        lowering.emit(&lowering.name(id), kernel, grid(matrix.quads()), &[x, y], shape);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let Some((dx, accumulate)) = lowering.gradient_into(id, 0) else { return Ok(()) };
        let matrix = lowering.matrix(id);
        let (x, dy) = (lowering.argument(id, 0), lowering.gradient(id));
        let wgsl = self.join(include_str!("../../../shaders/ops/pointwise_grad.wgsl"), matrix);
        let storage = [Binding::Read, Binding::Read, Binding::ReadWrite];
        let kernel = source::<GradShape>(format!("pointwise_grad[{}]", self.name), wgsl, &storage);
        let shape = GradShape { quads: u(matrix.quads()), accumulate: u32::from(accumulate) };
        lowering.emit(&lowering.name(id), kernel, grid(matrix.quads()), &[x, dy, dx], shape);
        Ok(())
    }
}

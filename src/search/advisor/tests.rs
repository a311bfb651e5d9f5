use super::*;

fn names(problem: &ProblemDescription) -> Vec<String> {
    let all = OptimizationAdvisor::new().suggest(problem);
    all.into_iter().filter(|advice| advice.applicable).map(|advice| advice.approach.name).collect()
}

#[test]
fn the_first_method_meets_the_needs_that_decide() {
    let plain = ProblemDescription::default;
    let without = || ProblemDescription { has_gradients: false, ..plain() };
    let rows = [
        (ProblemDescription { online_learning: true, memory_limited: true, ..plain() }, "SGD"),
        (ProblemDescription { needs_constraints: true, ..plain() }, "SLSQP"),
        (ProblemDescription { needs_constraints: true, ..without() }, "COBYLA"),
        (
            ProblemDescription { many_local_minima: true, parallel_compute: true, noisy: true, ..without() },
            "CMA-ES",
        ),
        (
            ProblemDescription {
                many_local_minima: true,
                parallel_compute: true,
                discrete: true,
                ..without()
            },
            "genetic algorithm",
        ),
        (ProblemDescription { many_local_minima: true, ..plain() }, "L-BFGS-B from many starts"),
    ];
    for (problem, first) in rows {
        assert_eq!(names(&problem)[0], first, "{problem:?}: {:?}", names(&problem));
    }
}

#[test]
fn what_cannot_be_used_comes_last_and_says_why() {
    let problem = ProblemDescription { has_gradients: false, discrete: true, ..Default::default() };
    let all = OptimizationAdvisor::new().suggest(&problem);
    let first_unfit = all.iter().position(|advice| !advice.applicable).unwrap();
    assert!(first_unfit > 0 && all[first_unfit..].iter().all(|advice| !advice.applicable));
    let adam = all.iter().find(|advice| advice.approach.name == "Adam").unwrap();
    assert!(adam.to_string().contains("not applicable") && adam.to_string().contains("- needs gradients"));
}

#[test]
fn many_variables_speak_against_methods_for_few() {
    let few = ProblemDescription { has_gradients: false, dimensions: Some(2), ..Default::default() };
    let many = ProblemDescription { dimensions: Some(5000), ..few.clone() };
    let score = |problem: &ProblemDescription, name: &str| {
        let all = OptimizationAdvisor::new().suggest(problem);
        all.iter().find(|advice| advice.approach.name == name).unwrap().score
    };
    assert_eq!(score(&many, "Nelder-Mead"), score(&few, "Nelder-Mead") - 2);
    assert_eq!(score(&many, "evolution strategy"), score(&few, "evolution strategy"));
}

#[test]
fn the_table_is_data() {
    let rows = OptimizationAdvisor::new().approaches().to_vec();
    let text = serde_json::to_string(&rows).unwrap();
    let read: Vec<Approach> = serde_json::from_str(&text).unwrap();
    assert_eq!(read, rows);
    let own = OptimizationAdvisor::with(vec![read[1].clone()]);
    assert_eq!(own.suggest(&ProblemDescription::default()).len(), 1);
    assert!(OptimizationAdvisor::with(Vec::new()).suggest(&ProblemDescription::default()).is_empty());
}

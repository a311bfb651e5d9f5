use super::*;

fn small() -> Limits {
    Limits { binding_bytes: 65_536 * 2, buffer_bytes: 65_536 * 5 }
}

fn firsts(layout: &Layout) -> Vec<usize> {
    layout.spans().iter().map(|s| s.first).collect()
}

#[test]
fn tensors_start_at_64_and_groups_at_256() {
    let groups = [
        GroupSpec::new("a").tensor("x", [1]).tensor("y", [64]).tensor("z", [65]),
        GroupSpec::new("empty"),
        GroupSpec::new("b").tensor("s", []).tensor("t", [2, 3]),
    ];
    let layout = Layout::new(&groups, Limits::default()).unwrap();
    assert_eq!(firsts(&layout), [0, 64, 128, 256, 320]);
    assert_eq!(layout.len(), 512);
    assert_eq!(layout.parameters(), 1 + 64 + 65 + 1 + 6);
    assert_eq!(layout.span("t").unwrap().group, 2);
    assert_eq!(layout.groups(), ["a", "empty", "b"]);
    assert_eq!(layout.buffers(), 1);
    assert_eq!(layout.buffer_elements(0), 512);
}

#[test]
fn windows_divide_buffers() {
    // 32,768 elements a window, two windows a buffer, since the limit holds no third.
    let groups = [GroupSpec::new("a").tensor("x", [150_000])];
    let layout = Layout::new(&groups, small()).unwrap();
    let windows: Vec<_> = layout.windows().map(|w| (w.buffer, w.first, w.offset, w.len)).collect();
    assert_eq!(
        windows,
        [
            (0, 0, 0, 32_768),
            (0, 32_768, 32_768, 32_768),
            (1, 65_536, 0, 32_768),
            (1, 98_304, 32_768, 32_768),
            (2, 131_072, 0, 18_944),
        ]
    );
    assert_eq!(layout.len(), 150_016);
    let pieces: Vec<_> = layout.pieces(65_000, 70_000).map(|p| (p.buffer, p.offset, p.part)).collect();
    assert_eq!(pieces, [(0, 65_000, 0..536), (1, 0, 536..66_072), (2, 0, 66_072..70_000)]);
}

#[test]
fn a_tensor_that_fits_a_binding_is_not_split_by_the_end_of_a_buffer() {
    let groups = [GroupSpec::new("a").tensor("x", [50_000]).tensor("y", [32_768]).tensor("z", [20_000])];
    let layout = Layout::new(&groups, small()).unwrap();
    // At 50,048 y would cross the end of the buffer at 65,536.
    assert_eq!(firsts(&layout), [0, 65_536, 98_304]);
    assert_eq!(layout.whole(&layout.spans()[1]).unwrap(), (1, 0));
    let refused = layout.whole(&layout.spans()[0]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "x: 200000 bytes exceed the max_storage_buffer_binding_size of 131072 bytes on this device"
    );
}

#[test]
fn a_tensor_may_cross_windows_and_a_large_one_buffers() {
    let groups = [GroupSpec::new("a").tensor("x", [30_000]).tensor("y", [10_000]).tensor("z", [200_000])];
    let layout = Layout::new(&groups, small()).unwrap();
    assert_eq!(firsts(&layout), [0, 30_016, 40_064]);
    assert_eq!(layout.whole(&layout.spans()[1]).unwrap(), (0, 30_016));
    assert_eq!(layout.pieces(40_064, 200_000).count(), 4);
}

#[test]
fn resnet_18_pads_by_less_than_a_tenth_of_a_percent() {
    let groups = [(0..62).fold(GroupSpec::new("all"), |g, i| g.tensor(format!("t{i}"), [11_689_512 / 62]))];
    let layout = Layout::new(&groups, Limits::default()).unwrap();
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    let ratio = layout.len() as f64 / layout.parameters() as f64;
    assert!(ratio < 1.001, "{ratio}");
}

#[test]
fn a_layout_with_one_more_group_is_that_of_all_groups_at_once() {
    let first = GroupSpec::new("a").tensor("x", [30_000]).tensor("s", []);
    // Within a buffer, moved to the next one, over several, up to the end of one exactly, and nothing at all.
    let more = [
        GroupSpec::new("b").tensor("y", [70]).tensor("z", [3, 5]),
        GroupSpec::new("b").tensor("y", [32_768]).tensor("z", [20_000]),
        GroupSpec::new("b").tensor("y", [200_000]),
        GroupSpec::new("b").tensor("y", [65_536 - 30_208]).tensor("z", [1]),
        GroupSpec::new("b"),
    ];
    for second in more {
        let mut layout = Layout::new(std::slice::from_ref(&first), small()).unwrap();
        let mut at_once = Layout::new(&[first.clone(), second.clone()], small()).unwrap();
        assert_eq!(layout.with_group(&second).unwrap(), at_once);
        layout.tie("alias", "s").unwrap();
        at_once.tie("alias", "s").unwrap();
        let grown = layout.with_group(&second).unwrap();
        assert_eq!(grown, at_once);
        assert_eq!(grown.spans()[..2], *layout.spans());
        let last = GroupSpec::new("c").tensor("alias", [3]);
        assert_eq!(grown.with_group(&last).unwrap_err().to_string(), "duplicate tensor \"alias\"");
        let same = GroupSpec::new("b").tensor("other", [3]);
        assert_eq!(grown.with_group(&same).unwrap_err().to_string(), "duplicate group \"b\"");
    }
}

#[test]
fn sums_of_lengths_do_not_wrap() {
    let said = |name: &str, len: usize| {
        format!(
            "{name}: expected at most {} elements together with the tensors before it, got [{len}]",
            Layout::MOST
        )
    };
    // Lengths whose sum is 2^64 and so 0, that is just too much, and that is just enough.
    let most = Layout::MOST;
    let fits = most / Layout::GROUP_ALIGN * Layout::GROUP_ALIGN;
    let rows: [(usize, usize, Option<usize>); 5] = [
        (64, most, Some(0)),
        (64, fits, Some(1)),
        (65, fits / 64 / 256 * 256, Some(64)),
        (64, fits / 64 / 256 * 256, None),
        (1, fits, None),
    ];
    for (count, len, refused) in rows {
        for in_groups in [true, false] {
            let mut groups = vec![GroupSpec::new("first")];
            for index in 0..count {
                if in_groups && index > 0 {
                    groups.push(GroupSpec::new(format!("group {index}")));
                }
                let last = groups.pop().unwrap();
                groups.push(last.tensor(format!("t{index}"), [len]));
            }
            let limits = Limits { binding_bytes: 65_536, buffer_bytes: 1 << 40 };
            match (Layout::new(&groups, limits), refused) {
                (Ok(layout), None) => {
                    assert_eq!(layout.len(), count * len);
                    assert_eq!(layout.parameters(), count * len);
                    let last = layout.windows().next().unwrap();
                    assert_eq!((last.first, layout.buffer_elements(usize::MAX)), (0, 0));
                }
                (Err(error), Some(index)) => {
                    assert_eq!(error.to_string(), said(&format!("t{index}"), len))
                }
                (got, _) => panic!("{count} of {len}: {got:?}"),
            }
        }
    }
    // One more group is refused as it is from the start.
    let layout = Layout::new(&[GroupSpec::new("a").tensor("x", [fits])], Limits::default()).unwrap();
    let more = GroupSpec::new("b").tensor("y", [1]);
    assert_eq!(layout.with_group(&more).unwrap_err().to_string(), said("y", 1));
    assert_eq!(layout.len(), fits);
    let huge = Limits { binding_bytes: u64::MAX, buffer_bytes: u64::MAX };
    assert_eq!(Layout::new(&[GroupSpec::new("a").tensor("x", [fits])], huge).unwrap().buffers(), 1);
}

#[test]
fn refusals_name_the_tensor() {
    let one = |name: &str, shape: &[usize]| {
        Layout::new(&[GroupSpec::new("a").tensor("w", [2]).tensor(name, shape)], Limits::default())
    };
    let rows = [
        (one("w", &[3]), "duplicate tensor \"w\""),
        (one("", &[3]), "tensor: the name is empty"),
        (
            one("x", &[usize::MAX, 2]),
            "x: expected at most 288230376151711743 elements, got [18446744073709551615, 2]",
        ),
        (Layout::new(&[], Limits::default()), "parameters: expected at least one tensor"),
        (
            Layout::new(&[GroupSpec::new("a"), GroupSpec::new("a")], Limits::default()),
            "duplicate group \"a\"",
        ),
        (
            Layout::new(&[], Limits { binding_bytes: 1000, buffer_bytes: 1 << 30 }),
            "a window: 65536 bytes exceed the max_storage_buffer_binding_size of 1000 bytes on this device",
        ),
    ];
    for (result, message) in rows {
        assert_eq!(result.unwrap_err().to_string(), message);
    }
    let layout = one("bias", &[3]).unwrap();
    let unknown = layout.span("bais").unwrap_err().to_string();
    assert_eq!(unknown, "unknown tensor \"bais\", did you mean \"bias\"?; known: w, bias");
}

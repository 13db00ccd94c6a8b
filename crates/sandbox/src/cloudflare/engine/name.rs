//! What workerd calls its containers.

/// The image of the side-car, whatever its tag.
pub const SIDE_CAR_IMAGE: &str = "cloudflare/proxy-everything";

/// Whether an image is the side-car's.
pub fn is_side_car_image(image: &str) -> bool {
    image == SIDE_CAR_IMAGE
        || image
            .strip_prefix(SIDE_CAR_IMAGE)
            .is_some_and(|rest| rest.starts_with(':') || rest.starts_with('@'))
}

/// The parts of `workerd-<unique key>-<64 hexadecimal digits>`: the key of the Durable Objects' namespace and the
/// object's id. `None` for a name that is not workerd's, and for a side-car's.
pub fn object_of(container: &str) -> Option<(&str, &str)> {
    let (key, id) = container.strip_prefix("workerd-")?.rsplit_once('-')?;
    let is_id =
        id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    (is_id && !key.is_empty()).then_some((key, id))
}

/// Whether Docker takes this as a container's name. It becomes the name of files here, so nothing else is let in.
pub fn is_container_name(name: &str) -> bool {
    name.len() <= 200
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects() {
        let id = "0123456789abcdef".repeat(4);
        let name = format!("workerd-acme-nats-orchestrator-NatsNode-{id}");
        assert_eq!(object_of(&name), Some(("acme-nats-orchestrator-NatsNode", id.as_str())));
        for other in [
            format!("{name}-proxy"),
            format!("workerd-{id}"),
            format!("workerd--{id}"),
            name.replace("0123", "012G"),
        ] {
            assert_eq!(object_of(&other), None, "{other}");
        }
    }

    #[test]
    fn side_cars() {
        assert!(
            ["", ":x", "@sha256:00"].iter().all(|tag| is_side_car_image(&format!("{SIDE_CAR_IMAGE}{tag}")))
        );
        assert!(!is_side_car_image("cloudflare/proxy-everything-else:x"));
    }

    #[test]
    fn names_that_could_leave_the_directory_are_refused() {
        assert!(is_container_name("workerd-a.b_c-0"));
        for name in ["", ".", "..", "../a", "a/b", "-a", "a b", "a\0", &"a".repeat(201)] {
            assert!(!is_container_name(name), "{name:?}");
        }
    }
}

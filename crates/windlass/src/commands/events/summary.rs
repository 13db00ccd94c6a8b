//! What happened, in a few words, by the kind of event.
//!
//! The words are made from what a payload usually has. Where it has something else, less is said; nothing fails.

use windlass_events::consume::Outline;

/// Summarizes an event: empty when there is nothing to add to its name and action.
pub fn summary(event: &str, action: Option<&str>, payload: &Outline) -> String {
    let words = match event {
        "push" => push(payload),
        "pull_request" => numbered(
            &payload["pull_request"],
            payload["pull_request"]["merged"].is_true().then_some("merged"),
        ),
        "pull_request_review" => numbered(&payload["pull_request"], payload["review"]["state"].text()),
        "pull_request_review_comment" => {
            quoted(numbered(&payload["pull_request"], None), &payload["comment"]["body"])
        }
        "pull_request_review_thread" => numbered(&payload["pull_request"], None),
        "issues" => numbered(&payload["issue"], detail_of_issue(action, payload)),
        "issue_comment" => quoted(numbered(&payload["issue"], None), &payload["comment"]["body"]),
        "sub_issues" | "issue_dependencies" => numbered(&payload["sub_issue"], None),
        "discussion" => numbered(&payload["discussion"], None),
        "discussion_comment" => quoted(numbered(&payload["discussion"], None), &payload["comment"]["body"]),
        "commit_comment" => {
            quoted(payload["comment"]["commit_id"].text().map(short), &payload["comment"]["body"])
        }
        "release" => named(&payload["release"]["tag_name"], &payload["release"]["name"]),
        "create" | "delete" => join(
            [payload["ref_type"].text().map(str::to_owned), payload["ref"].text().map(str::to_owned)],
            " ",
        ),
        "workflow_run" => {
            let run = &payload["workflow_run"];
            let name = join(
                [text(&run["name"]), run["run_number"].number().map(|number| format!("#{number}"))],
                " ",
            );
            with_outcome(with_branch(name, &run["head_branch"]), run)
        }
        "workflow_job" => {
            let job = &payload["workflow_job"];
            with_outcome(join([text(&job["workflow_name"]), text(&job["name"])], " / "), job)
        }
        "check_run" => with_outcome(text(&payload["check_run"]["name"]), &payload["check_run"]),
        "check_suite" => {
            let suite = &payload["check_suite"];
            with_outcome(with_branch(text(&suite["app"]["name"]), &suite["head_branch"]), suite)
        }
        "workflow_dispatch" => join([text(&payload["workflow"]), payload["ref"].text().map(branch)], " on "),
        "status" => {
            colon(join([text(&payload["context"]), text(&payload["state"])], ": "), &payload["description"])
        }
        "deployment" => text(&payload["deployment"]["environment"]),
        "deployment_status" => {
            let status = &payload["deployment_status"];
            join([text(&status["environment"]), text(&status["state"])], ": ")
        }
        "star" | "watch" => {
            payload["repository"]["stargazers_count"].number().map(|count| plural(count, "star"))
        }
        "fork" => payload["forkee"]["full_name"].text().map(|name| format!("to {name}")),
        "ping" => text(&payload["zen"]),
        "member" | "membership" | "organization" | "org_block" => member(payload),
        "team" | "team_add" => text(&payload["team"]["name"]),
        "repository" | "public" => text(&payload["repository"]["visibility"]),
        "label" => text(&payload["label"]["name"]),
        "milestone" => text(&payload["milestone"]["title"]),
        "gollum" => pages(payload),
        "installation" | "github_app_authorization" => text(&payload["installation"]["account"]["login"]),
        "installation_repositories" => {
            let (added, removed) = (&payload["repositories_added"], &payload["repositories_removed"]);
            Some(format!("+{} -{} repositories", added.length(), removed.length()))
        }
        "branch_protection_rule" => text(&payload["rule"]["name"]),
        "repository_ruleset" => text(&payload["repository_ruleset"]["name"]),
        "dependabot_alert" => alert(payload, &payload["alert"]["security_advisory"]["summary"]),
        "code_scanning_alert" => alert(payload, &payload["alert"]["rule"]["description"]),
        "secret_scanning_alert" => alert(payload, &payload["alert"]["secret_type"]),
        "package" | "registry_package" => {
            let package = &payload[event];
            named(&package["name"], &package["package_version"]["version"])
        }
        "merge_group" => payload["merge_group"]["head_ref"].text().map(branch),
        "deploy_key" => text(&payload["key"]["title"]),
        "page_build" => text(&payload["build"]["status"]),
        _ => None,
    };
    words.unwrap_or_default()
}

fn push(payload: &Outline) -> Option<String> {
    let name = branch(payload["ref"].text()?);
    if payload["deleted"].is_true() {
        return Some(format!("deleted {name}"));
    }
    let mut words = name;
    let mut notes = Vec::new();
    match payload["commits"].length() {
        0 => {}
        1 => notes.push("1 commit".to_owned()),
        count => notes.push(format!("{count} commits")),
    }
    if payload["created"].is_true() {
        notes.push("new".to_owned());
    }
    if payload["forced"].is_true() {
        notes.push("forced".to_owned());
    }
    if !notes.is_empty() {
        words.push_str(&format!(": {}", notes.join(", ")));
    }
    quoted(Some(words), &payload["head_commit"]["message"])
}

/// `refs/heads/main` is `main`, `refs/tags/v1` is `tag v1`.
fn branch(reference: &str) -> String {
    match reference.strip_prefix("refs/tags/") {
        Some(tag) => format!("tag {tag}"),
        None => reference.strip_prefix("refs/heads/").unwrap_or(reference).to_owned(),
    }
}

fn detail_of_issue<'a>(action: Option<&str>, payload: &'a Outline) -> Option<&'a str> {
    match action {
        Some("labeled" | "unlabeled") => payload["label"]["name"].text(),
        Some("assigned" | "unassigned") => payload["assignee"]["login"].text(),
        Some("closed") => payload["issue"]["state_reason"].text(),
        _ => None,
    }
}

/// `#7 Title (detail)`.
fn numbered(of: &Outline, detail: Option<&str>) -> Option<String> {
    let number = of["number"].number().map(|number| format!("#{number}"));
    let words = join([number, text(&of["title"])], " ")?;
    Some(match detail {
        Some(detail) => format!("{words} ({detail})"),
        None => words,
    })
}

fn named(tag: &Outline, name: &Outline) -> Option<String> {
    match (tag.text(), name.text()) {
        (Some(tag), Some(name)) if tag != name => Some(format!("{tag} {name}")),
        (tag, name) => tag.or(name).map(str::to_owned),
    }
}

/// The words, then the first line of a text in quotation marks.
fn quoted(words: Option<String>, quotation: &Outline) -> Option<String> {
    let line = quotation.text().and_then(|text| text.lines().find(|line| !line.trim().is_empty()));
    match (words, line) {
        (Some(words), Some(line)) => Some(format!("{words} \u{201c}{}\u{201d}", line.trim())),
        (words, line) => words.or_else(|| line.map(str::to_owned)),
    }
}

fn colon(words: Option<String>, more: &Outline) -> Option<String> {
    join([words, text(more)], " \u{2013} ")
}

/// The conclusion, or the state of what has none yet.
fn with_outcome(words: Option<String>, run: &Outline) -> Option<String> {
    let outcome = run["conclusion"].text().or_else(|| run["status"].text()).map(str::to_owned);
    join([words, outcome], ": ")
}

fn with_branch(words: Option<String>, branch: &Outline) -> Option<String> {
    join([words, text(branch)], " on ")
}

fn member(payload: &Outline) -> Option<String> {
    let who = [
        &payload["member"],
        &payload["membership"]["user"],
        &payload["invitation"],
        &payload["blocked_user"],
    ]
    .into_iter()
    .find_map(|user| user["login"].text())?;
    Some(match payload["team"]["name"].text() {
        Some(team) => format!("{who} ({team})"),
        None => who.to_owned(),
    })
}

fn pages(payload: &Outline) -> Option<String> {
    let pages = &payload["pages"];
    let title = pages.first()["title"].text()?;
    Some(match pages.length() {
        1 => title.to_owned(),
        count => format!("{title} and {} more", count - 1),
    })
}

fn alert(payload: &Outline, what: &Outline) -> Option<String> {
    let alert = &payload["alert"];
    let severity = [&alert["security_advisory"]["severity"], &alert["rule"]["severity"]]
        .into_iter()
        .find_map(Outline::text)
        .map(|severity| format!("({severity})"));
    join([alert["number"].number().map(|number| format!("#{number}")), text(what), severity], " ")
}

fn text(outline: &Outline) -> Option<String> {
    outline.text().map(str::to_owned)
}

fn short(commit: &str) -> String {
    commit.chars().take(7).collect()
}

fn plural(count: &str, noun: &str) -> String {
    if count == "1" { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// What there is of the parts, with `between` between them; `None` when there is nothing.
fn join<const N: usize>(parts: [Option<String>; N], between: &str) -> Option<String> {
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(between))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_summarized() {
        for (event, action, payload, expected) in [
            (
                "push",
                None,
                r#"{"ref":"refs/heads/main","commits":[{},{}],"head_commit":{"message":"Fix it\n\nReally"}}"#,
                "main: 2 commits “Fix it”",
            ),
            (
                "push",
                None,
                r#"{"ref":"refs/tags/v1","commits":[{}],"created":true,"forced":true,"head_commit":null}"#,
                "tag v1: 1 commit, new, forced",
            ),
            ("push", None, r#"{"ref":"refs/heads/a/b","deleted":true,"commits":[]}"#, "deleted a/b"),
            ("pull_request", Some("opened"), r#"{"pull_request":{"number":7,"title":"Add x"}}"#, "#7 Add x"),
            (
                "pull_request",
                Some("closed"),
                r#"{"pull_request":{"number":7,"title":"Add x","merged":true}}"#,
                "#7 Add x (merged)",
            ),
            (
                "pull_request_review",
                Some("submitted"),
                r#"{"pull_request":{"number":7,"title":"Add x"},"review":{"state":"approved"}}"#,
                "#7 Add x (approved)",
            ),
            (
                "issues",
                Some("labeled"),
                r#"{"issue":{"number":1,"title":"Broken"},"label":{"name":"bug"}}"#,
                "#1 Broken (bug)",
            ),
            (
                "issue_comment",
                Some("created"),
                r#"{"issue":{"number":1,"title":"Broken"},"comment":{"body":"\n Me too\nx"}}"#,
                "#1 Broken “Me too”",
            ),
            ("release", Some("published"), r#"{"release":{"tag_name":"v1","name":"First"}}"#, "v1 First"),
            ("release", Some("published"), r#"{"release":{"tag_name":"v1","name":"v1"}}"#, "v1"),
            (
                "workflow_run",
                Some("completed"),
                r#"{"workflow_run":{"name":"CI","run_number":9,"head_branch":"main","conclusion":"success"}}"#,
                "CI #9 on main: success",
            ),
            (
                "workflow_job",
                Some("in_progress"),
                r#"{"workflow_job":{"workflow_name":"CI","name":"test","conclusion":null,"status":"in_progress"}}"#,
                "CI / test: in_progress",
            ),
            (
                "check_run",
                Some("created"),
                r#"{"check_run":{"name":"lint","status":"queued"}}"#,
                "lint: queued",
            ),
            ("star", Some("created"), r#"{"repository":{"stargazers_count":1}}"#, "1 star"),
            ("watch", Some("started"), r#"{"repository":{"stargazers_count":12}}"#, "12 stars"),
            ("fork", None, r#"{"forkee":{"full_name":"a/b"}}"#, "to a/b"),
            ("create", None, r#"{"ref":"v1","ref_type":"tag"}"#, "tag v1"),
            ("ping", None, r#"{"zen":"Keep it logically awesome."}"#, "Keep it logically awesome."),
            ("gollum", None, r#"{"pages":[{"title":"Home"},{}]}"#, "Home and 1 more"),
            (
                "dependabot_alert",
                Some("created"),
                r#"{"alert":{"number":3,"security_advisory":{"summary":"Overflow","severity":"high"}}}"#,
                "#3 Overflow (high)",
            ),
            ("status", None, r#"{"context":"ci","state":"success","description":"ok"}"#, "ci: success – ok"),
            ("unheard_of", Some("done"), r#"{"a":1}"#, ""),
            ("push", None, r#"{"ref":7}"#, ""),
            ("issues", None, "{}", ""),
        ] {
            let outline = Outline::of(payload.as_bytes()).unwrap();
            assert_eq!(summary(event, action, &outline), expected, "{event} {payload}");
        }
    }
}

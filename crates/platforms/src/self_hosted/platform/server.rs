//! How a server comes to run as it is wanted: its files, a reload or another process, and the wait for the others.

use super::*;

/// How long it may take until it has read its configuration again.
const RELOADS_WITHIN: Duration = Duration::from_secs(10);
/// How long a cluster may take to agree on a leader and catch up.
const SETTLES_WITHIN: Duration = Duration::from_secs(120);

impl SelfHosted {
    pub(super) async fn make_server(&self, address: &Address, running: bool) -> Result<(), Trouble> {
        self.choose_ports().await?;
        let unknown =
            || Trouble::new("WL0508", format!("{address} is not in the fleet file"), "windlass plan");
        let (servers, index) = self.server(address).ok_or_else(unknown)?;
        let place = servers.place(index);
        let (operator, system) = authority::operator(&self.options)?;
        let checked = authority::open(&self.options)?.check_data(&place.home.join("jetstream"));
        checked.map_err(from_nats)?;
        for directory in [&place.home, &place.resolver] {
            std::fs::create_dir_all(directory)
                .map_err(|error| trouble("make the server's directory", &error))?;
        }
        for name in windlass_engine::wanted::accounts(&self.options.fleet) {
            if authority::account_file(&self.options, name).is_file() {
                let issued = authority::account(&self.options, name)?;
                place_token(&place, &issued.public_key, &issued.token)?;
            }
        }
        let text = servers.config(index, &operator.token, &system);
        let certificates = servers.make_certificates(index)?;
        write_config(&place, &text)?;
        let binary = find_binary(&servers).map_err(from_nats)?;
        let digest = config::check(&binary, &place.config).map_err(from_nats)?;
        let mut part = Part {
            name: place.part.clone(),
            kind: PartKind::Server,
            program: binary.path.clone(),
            arguments: vec!["--config".to_owned(), place.config.display().to_string()],
            log: Some(place.log.clone()),
            monitor: Some(place.monitor),
            store: Some(place.home.clone()),
            listens: place.listens.clone(),
            drain: servers.drain(),
            // Another version under the same path needs a new process, too.
            token: format!("{} {}", compare::digest_of(&compare::needs_restart(&text)), binary.version),
            loaded: Loaded { config: digest, certificates, tls: servers.encrypts_clients() },
        };
        if let Some(running) = self.control.running(&part.name).filter(|running| part.succeeds(&running.part))
        {
            part.token.clone_from(&running.part.token);
            if self.reload(&servers, &part, &place).await? {
                return Ok(());
            }
            // It did not take it over: only another process does.
            part.token = format!("{} {}", part.token, jiff::Timestamp::now().as_second());
        }
        let goes_on = running && servers.goes_on();
        if goes_on {
            // The others must carry what this one is about to put down; what an agent that is gone left behind, the next one
            // starts again.
            self.control.ensure_agent().await.map_err(|error| trouble("start the agent", &error))?;
            self.settle_without(&servers, Some(index)).await?;
        }
        self.control.want(&part).await.map_err(|error| trouble("want a server", &error))?;
        self.started(&servers, &part, &place).await?;
        if goes_on {
            self.settle_without(&servers, None).await?;
        }
        Ok(())
    }

    /// Lets a running server read its configuration and its certificates again. False when it does not take them over.
    pub(super) async fn reload(
        &self,
        servers: &Servers<'_>,
        part: &Part,
        place: &Place,
    ) -> Result<bool, Trouble> {
        self.control.want(part).await.map_err(|error| trouble("want a server", &error))?;
        let Some(process) = self.control.wait(part, RELOADS_WITHIN).await else { return Ok(false) };
        let monitor = Monitor::new(place.monitor);
        let is_as_wanted = async || {
            let varz = monitor.varz().await.ok();
            varz.is_some_and(|varz| varz.config_digest.as_ref() == Some(&part.loaded.config))
                && servers.shows(place).await.is_ok()
        };
        process.signal(rustix::process::Signal::HUP);
        let deadline = tokio::time::Instant::now() + RELOADS_WITHIN;
        while tokio::time::Instant::now() < deadline {
            if is_as_wanted().await {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tracing::warn!(part = part.name, "did not take over its configuration; starting it again");
        Ok(false)
    }

    /// Waits until the server answers, is this one, and runs with this configuration.
    pub(super) async fn started(
        &self,
        servers: &Servers<'_>,
        part: &Part,
        place: &Place,
    ) -> Result<(), Trouble> {
        let digest = part.loaded.config.as_str();
        let log = place.log.display();
        let failed =
            |what: String| Trouble::new("WL0601", format!("{}: {what}", part.name), format!("see {log}"));
        let within = STARTS_WITHIN + Duration::from_secs(part.drain.unwrap_or(0));
        if self.control.wait(part, within).await.is_none() {
            return Err(failed("it does not start".to_owned()));
        }
        let name = format!("{}-{}", self.options.fleet.name(), place.part);
        let is_it = |varz: &windlass_nats::server::Varz| {
            if varz.server_name != name {
                return Err(format!("another server, {:?}, has its monitoring port", varz.server_name));
            }
            if varz.config_digest.as_deref() != Some(digest) {
                return Err("it runs with another configuration".to_owned());
            }
            Ok(())
        };
        // One of several has JetStream only once it has found the others.
        let monitor = Monitor::new(place.monitor);
        let ready = async {
            if !servers.is_joined() {
                return monitor
                    .wait_ready(STARTS_WITHIN, Health::JetStreamEnabled, is_it)
                    .await
                    .map(|_| ())
                    .map_err(from_nats);
            }
            let deadline = tokio::time::Instant::now() + STARTS_WITHIN;
            loop {
                let reason = match monitor.varz().await {
                    Ok(varz) => match is_it(&varz) {
                        Ok(()) => return Ok(()),
                        Err(reason) => reason,
                    },
                    Err(error) => error.to_string(),
                };
                if tokio::time::Instant::now() >= deadline {
                    return Err(failed(reason));
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let ends = async {
            // A server that cannot run ends at once, again and again; nobody should wait a minute for that.
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let status = self.control.status();
                if let Some(running) = status.parts.get(&part.name).filter(|one| one.part.runs_as(part))
                    && running.process.is_none()
                    && let Some(ended) = &running.ended
                {
                    let tail =
                        last_lines(&place.log).or_else(|| last_lines(&self.control.places().log(&part.name)));
                    return failed(format!("it ended: {ended}\n{}", tail.unwrap_or_default()));
                }
            }
        };
        tokio::select! {
            ready = ready => ready,
            ended = ends => Err(ended),
        }
    }

    pub(super) async fn settle(&self, cluster: &str) -> Result<(), Trouble> {
        let (name, cluster) = self
            .cluster(cluster)
            .ok_or_else(|| Trouble::new("WL0508", format!("no cluster {cluster}"), ""))?;
        self.settle_without(&Servers::known(&self.options, name, cluster), None).await
    }

    /// Waits until every server that has been made, but one, is current: in the metadata's group, and in every stream and
    /// consumer.
    pub(super) async fn settle_without(
        &self,
        servers: &Servers<'_>,
        but: Option<u32>,
    ) -> Result<(), Trouble> {
        let deadline = tokio::time::Instant::now() + SETTLES_WITHIN;
        loop {
            let mut lagging = None;
            let system = servers.system();
            let places =
                system.iter().flat_map(|servers| (0..servers.count()).map(|index| servers.place(index)));
            let but = but.map(|index| servers.place(index).part);
            for place in places.filter(|place| Some(&place.part) != but.as_ref()) {
                // One that is still to be made has nothing to catch up with.
                if !place.config.is_file() {
                    continue;
                }
                match Monitor::new(place.monitor).health(Health::Everything).await {
                    Ok(Ok(())) => {}
                    Ok(Err(reason)) => lagging = Some(format!("{}: {reason}", place.part)),
                    Err(error) => lagging = Some(format!("{}: {error}", place.part)),
                }
            }
            let Some(reason) = lagging else { return Ok(()) };
            if tokio::time::Instant::now() >= deadline {
                return Err(Trouble::new(
                    "WL0607",
                    format!("the cluster has not caught up: {reason}"),
                    "windlass status",
                ));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub(super) fn place_token(place: &Place, public_key: &str, token: &str) -> Result<(), Trouble> {
    let path = place.resolver.join(format!("{public_key}.jwt"));
    if std::fs::read_to_string(&path).is_ok_and(|there| there == token) {
        return Ok(());
    }
    let written = std::fs::create_dir_all(&place.resolver).and_then(|()| std::fs::write(&path, token));
    written.map_err(|error| trouble("write an account's token", &error))
}

fn write_config(place: &Place, text: &str) -> Result<(), Trouble> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let next = place.config.with_extension("conf.next");
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&next);
    let written = file
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| std::fs::rename(&next, &place.config));
    written.map_err(|error| trouble("write a server's configuration", &error))
}

fn last_lines(path: &std::path::Path) -> Option<String> {
    let text = std::fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().rev().take(6).collect();
    let lines: Vec<String> = lines.into_iter().rev().map(|line| format!("    {line}")).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// The nats-server that the cluster is to run.
pub(super) fn find_binary(servers: &Servers<'_>) -> Result<Binary, windlass_nats::Error> {
    servers.version().map_or_else(Binary::find, Binary::find_version)
}

//! What is there: files, processes and servers are looked at, and nothing is changed.

use super::super::{part, receiver};
use super::server::find_binary;
use super::*;

/// Consumers that are asked for at once.
const LOOKS_AT_ONCE: usize = 64;

impl SelfHosted {
    pub(super) async fn look(&self, scope: Scope<'_>) -> Result<Vec<Found>, Trouble> {
        let mut found = Vec::new();
        let mut streams: Vec<(Address, &Value)> = Vec::new();
        let mut consumers: Vec<(Address, &Value)> = Vec::new();
        let all = scope.wanted.iter().map(|one| (&one.address, &one.body));
        for (address, body) in all.chain(scope.recorded.iter().copied()) {
            let one = match address.kind {
                Kind::Operator => {
                    authority::operator_exists(&self.options).then(|| (json!({ "name": address.name }), None))
                }
                Kind::Account => {
                    authority::found_account(&self.options, &address.name, body).map(|mut found| {
                        self.look_at_accounts_servers(&address.name, &mut found);
                        (found, None)
                    })
                }
                Kind::User => address.name.split_once('/').and_then(|(account, user)| {
                    authority::found_user(&self.options, account, user).map(|body| (body, None))
                }),
                Kind::Server => self.look_at_server(address).await,
                Kind::Cluster => self.look_at_cluster(address).await,
                Kind::Bucket | Kind::Namespace | Kind::Worker | Kind::Secret | Kind::Container => None,
                Kind::Receiver => {
                    // Stopped by `down`, nothing of it is left but the memory.
                    let stopped = || (json!({ "runs": false }), Some("it is not running".to_owned()));
                    let known = scope.known().contains_key(address);
                    self.look_at_receiver().await.or_else(|| known.then(stopped))
                }
                Kind::Stream | Kind::Objects | Kind::Kv => {
                    streams.push((address.clone(), body));
                    None
                }
                Kind::Consumer => {
                    consumers.push((address.clone(), body));
                    None
                }
            };
            if let Some((body, trouble)) = one {
                found.push(Found {
                    address: address.clone(),
                    body,
                    data: Data::default(),
                    trouble,
                    unseen: false,
                });
            }
        }
        found.extend(self.look_at_stored(streams, scope).await?);
        found.extend(self.look_at_consumers(consumers, scope).await?);
        Ok(found)
    }

    pub(super) async fn look_at_consumers(
        &self,
        addresses: Vec<(Address, &Value)>,
        scope: Scope<'_>,
    ) -> Result<Vec<Found>, Trouble> {
        let recorded: BTreeMap<&Address, &Value> = scope.known();
        let look = async |(address, wanted): (Address, &Value)| -> Result<Option<Found>, Trouble> {
            let known = recorded.get(&address).copied();
            let at = known.unwrap_or(wanted);
            let (account, cluster) = (stored::Body(at).text("account"), stored::Body(at).text("cluster"));
            let client = self.client(&account, ADMIN, &cluster).await.ok().flatten();
            let seen = match &client {
                Some(client) => stored::find_consumer(client, at).await.map(Some),
                None => Ok(None),
            };
            let data = Data::default();
            Ok(match (seen, known) {
                (Ok(Some(Some(body))), _) => {
                    Some(Found { address, body, data, trouble: None, unseen: false })
                }
                (Ok(Some(None)), _) => None,
                (Ok(None) | Err(_), Some(known)) => {
                    let trouble = Some(format!("it cannot be seen while {cluster} is down"));
                    Some(Found { address, body: json!({ "recorded": known }), data, trouble, unseen: true })
                }
                (Ok(None) | Err(_), None) => None,
            })
        };
        let looks = futures::stream::iter(addresses.into_iter().map(look)).buffered(LOOKS_AT_ONCE);
        let found: Vec<Option<Found>> = looks.try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    pub(super) async fn look_at_server(&self, address: &Address) -> Option<(Value, Option<String>)> {
        let Some((servers, index)) = self.server(address) else {
            // A cluster that left the file: its part, or its file, is all that is known.
            let (cluster, index) = address.name.rsplit_once('-')?;
            let home = servers::home(&self.options.directory, cluster, index.parse().ok()?);
            let there = self.control.status().parts.contains_key(&address.name)
                || home.join(servers::CONFIG).is_file();
            return there.then(|| (json!({}), None));
        };
        let place = servers.place(index);
        let text = std::fs::read_to_string(&place.config).ok()?;
        let (operator, system) = authority::known_operator(&self.options)?;
        let wanted = servers.config(index, &operator.token, &system);
        let running = self.control.running(&place.part);
        let varz = Monitor::new(place.monitor).varz().await.ok();
        // One that answers in its place, on its data, and was not started by an agent of this directory.
        let store = place.home.join("jetstream").display().to_string();
        let on_its_data = varz
            .as_ref()
            .filter(|varz| varz.jetstream.config.as_ref().is_some_and(|config| config.store_dir == store));
        let stranger = on_its_data.filter(|_| running.is_none()).map(|_| place.monitor.to_string());
        let varz = varz.filter(|_| running.is_some());
        let digest = varz.as_ref().and_then(|varz| varz.config_digest.clone());
        let body = json!({
            "file": compare::digest_of(&text),
            "wanted": compare::digest_of(&wanted),
            "differs": compare::differing_lines(&text, &wanted),
            "reloads": compare::needs_restart(&text) == compare::needs_restart(&wanted),
            "silences": compare::encrypts_routes(&text) != compare::encrypts_routes(&wanted),
            "certificate":
                servers.certificate_trouble(index, running.as_ref().map(|running| &running.part.loaded)).await,
            "runs": running.is_some(),
            "looked_after": self.control.agent().is_some(),
            "expected_digest": running.as_ref().map(|running| running.part.loaded.config.clone()),
            "installed": find_binary(&servers).map_or_else(
                |error| json!({ "missing": error.to_string() }),
                |binary| json!(binary.version.to_string()),
            ),
            "running_digest": digest,
            "stranger": stranger,
            "version": varz.map(|varz| varz.version),
            "servers": servers.exist(),
            "joined": text.contains("\ncluster {"),
            "streams": servers.hold_streams(),
        });
        let trouble = match running {
            None => Some("it is not running".to_owned()),
            Some(_) if body["running_digest"].is_null() => Some("it does not answer".to_owned()),
            Some(_) => None,
        };
        Some((body, trouble))
    }

    /// Notes which server, if any, has another token of the account than Windlass gave it. Each keeps its tokens in a
    /// directory, which `$SYS.REQ.CLAIMS.UPDATE` changes too.
    pub(super) fn look_at_accounts_servers(&self, account: &str, found: &mut Value) {
        let Some(key) = authority::known_account(&self.options, account) else { return };
        for (name, cluster) in &self.options.fleet.clusters {
            let servers = Servers::known(&self.options, name.as_str(), cluster);
            for place in (0..servers.count()).map(|index| servers.place(index)) {
                if !place.config.is_file() {
                    continue;
                }
                let token = std::fs::read_to_string(place.resolver.join(format!("{key}.jwt"))).ok();
                let says = token.and_then(|token| authority::says(&token)).unwrap_or_default();
                if says != found["says"] {
                    found["says"] = says;
                    found["changed_at"] = place.part.into();
                    return;
                }
            }
        }
    }

    pub(super) async fn look_at_cluster(&self, address: &Address) -> Option<(Value, Option<String>)> {
        let (name, cluster) = self.cluster(&address.name)?;
        let servers = Servers::known(&self.options, name, cluster);
        let exist = servers.exist();
        if exist == 0 {
            return None;
        }
        let mut healthy = 0;
        let mut trouble = None;
        for index in 0..servers.count() {
            let place = servers.place(index);
            let health = Monitor::new(place.monitor).health(Health::JetStreamServer).await;
            match health {
                Ok(Ok(())) => healthy += 1,
                Ok(Err(reason)) => trouble = Some(format!("{}: {reason}", place.part)),
                Err(_) => trouble = Some(format!("{} does not answer", place.part)),
            }
        }
        Some((json!({ "servers": exist, "healthy": healthy }), trouble))
    }

    pub(super) async fn look_at_receiver(&self) -> Option<(Value, Option<String>)> {
        let known = part::read::<Part>(&self.control.places().part(receiver::PART));
        let running = self.control.running(receiver::PART);
        let part = running.as_ref().map(|running| running.part.clone()).or(known)?;
        let trouble = match (&running, part.listens.first()) {
            (None, _) => Some("it is not running".to_owned()),
            (Some(_), Some(address)) => receiver::is_ready(*address).await.err(),
            (Some(_), None) => None,
        };
        let wanted = self.receiver_part(false).ok().flatten();
        let body = json!({
            "arguments": part.arguments,
            "token": part.token,
            "runs": running.is_some(),
            "wanted": wanted.map(|wanted| json!({ "arguments": wanted.arguments, "token": wanted.token })),
        });
        Some((body, trouble))
    }

    pub(super) async fn look_at_stored(
        &self,
        addresses: Vec<(Address, &Value)>,
        scope: Scope<'_>,
    ) -> Result<Vec<Found>, Trouble> {
        let mut found = Vec::new();
        let recorded: BTreeMap<&Address, &Value> = scope.known();
        let mut places: BTreeMap<(String, String), stored::Asked<'_>> = BTreeMap::new();
        for (address, wanted) in addresses {
            // It is where it was made, wherever the file wants it now.
            let at = recorded.get(&address).copied().unwrap_or(wanted);
            let account =
                at["account"].as_str().unwrap_or_else(|| main_account(&self.options.fleet)).to_owned();
            let known = at["cluster"].as_str().map(str::to_owned);
            let Some(cluster) = known.or_else(|| self.cluster_of(&address)) else { continue };
            let asked = places.entry((account, cluster)).or_default();
            asked.insert(stored::stream_name(&address), (address, wanted));
        }
        for ((account, cluster), asked) in places {
            let seen = match self.client(&account, ADMIN, &cluster).await {
                Ok(Some(client)) => stored::look(&client, &account, &cluster, &asked).await.ok(),
                Ok(None) | Err(_) => None,
            };
            let Some(seen) = seen else {
                // It cannot be seen: what was recorded stands in for it.
                let trouble = format!("it cannot be seen while {cluster} is down");
                found.extend(asked.into_values().filter_map(|(address, _)| {
                    let body = json!({ "recorded": recorded.get(&address)? });
                    let data = Data::default();
                    Some(Found { address, body, data, trouble: Some(trouble.clone()), unseen: true })
                }));
                continue;
            };
            found.extend(seen);
        }
        Ok(found)
    }
}

//! What is made, changed and taken away, but for the servers themselves.

use super::super::{agent, receiver};
use super::server::place_token;
use super::*;

impl SelfHosted {
    pub(super) async fn make(
        &self,
        address: &Address,
        body: &Value,
        running: bool,
        permission: Permission,
    ) -> Result<(), Trouble> {
        match address.kind {
            Kind::Operator => authority::operator(&self.options).map(|_| ()),
            Kind::Account => self.make_account(&address.name).await,
            Kind::User => self.make_user(body).await,
            Kind::Server => self.make_server(address, running).await,
            Kind::Cluster => self.settle(&address.name).await,
            Kind::Stream | Kind::Objects | Kind::Kv | Kind::Consumer => {
                let at = stored::Body(body);
                let client = self.need_client(&at.text("account"), &at.text("cluster")).await?;
                stored::ensure(&client, self.options.fleet.name(), address, body, permission).await
            }
            Kind::Receiver => self.make_receiver().await,
            Kind::Bucket | Kind::Namespace | Kind::Worker | Kind::Secret | Kind::Container => {
                let message = format!("{address} cannot be on your own machines");
                Err(Trouble::new("WL0508", message, "windlass plan"))
            }
        }
    }

    pub(super) async fn make_account(&self, name: &str) -> Result<(), Trouble> {
        self.publish_account(name).await?;
        // A server that learned of an import before what it imports from looks again when it is told again.
        for importer in authority::importers(&self.options, name) {
            if authority::account_file(&self.options, importer).is_file() {
                self.publish_account(importer).await?;
            }
        }
        Ok(())
    }

    /// Issues an account's token, and tells every server.
    pub(super) async fn publish_account(&self, name: &str) -> Result<(), Trouble> {
        let issued = authority::account(&self.options, name)?;
        for (cluster_name, cluster) in &self.options.fleet.clusters {
            let servers = Servers::known(&self.options, cluster_name.as_str(), cluster);
            for index in 0..servers.count() {
                let place = servers.place(index);
                if place.config.is_file() {
                    place_token(&place, &issued.public_key, &issued.token)?;
                }
            }
            // Servers that are going need not be told any more: they read it when they come back.
            tokio::select! {
                told = self.tell(cluster_name.as_str(), &issued.token) => told?,
                () = self.gone(cluster_name.as_str()) => {}
            }
        }
        Ok(())
    }

    /// Tells the cluster's running servers an account's token. It has patience with one that takes no connection or gives
    /// no answer: it may be going, and is then soon gone or back.
    pub(super) async fn tell(&self, cluster: &str, token: &str) -> Result<(), Trouble> {
        let deadline = tokio::time::Instant::now() + agent::grace(PartKind::Server);
        loop {
            let told = match self.client(SYSTEM_ACCOUNT, ADMIN, cluster).await {
                Ok(None) => return Ok(()),
                Ok(Some(system)) => authority::push(&system, token).await?,
                Err(trouble) => Err(trouble),
            };
            match told {
                Err(_) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                told => return told,
            }
        }
    }

    /// Waits until no server of the cluster runs.
    pub(super) async fn gone(&self, cluster: &str) {
        while self.reachable(cluster).is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Gives a user its credentials; when they replace others, the servers are told that those count no more.
    pub(super) async fn make_user(&self, body: &Value) -> Result<(), Trouble> {
        let at = stored::Body(body);
        let (account, user) = (at.text("account"), at.text("name"));
        authority::user(&self.options, body)?;
        // Windlass's own connections were made with what it had before.
        let its_own = format!("{account}/{user}@");
        self.clients.lock().await.retain(|key, _| !key.starts_with(&its_own));
        self.publish_revocations(&account).await
    }

    /// Publishes an account's token again if what it says of its users is no longer so.
    pub(super) async fn publish_revocations(&self, account: &str) -> Result<(), Trouble> {
        match authority::is_current(&self.options, account) {
            Some(false) => self.publish_account(account).await,
            Some(true) | None => Ok(()),
        }
    }

    pub(super) fn receiver_part(&self, create: bool) -> Result<Option<Part>, Trouble> {
        let fleet = &self.options.fleet;
        let (Some(github), Some((_, stream))) = (&fleet.github, fleet.github_stream()) else {
            return Ok(None);
        };
        let Some(secret) = (self.options.secrets)(create)? else { return Ok(None) };
        let Some((name, cluster)) = fleet.cluster_of(stream) else { return Ok(None) };
        let servers = Servers::known(&self.options, name.as_str(), cluster);
        let scheme = if servers.encrypts_clients() { "tls" } else { "nats" };
        let urls: Vec<String> =
            (0..servers.count()).map(|index| format!("{scheme}://{}", servers.place(index).client)).collect();
        let nats = receiver::Nats { url: urls.join(","), authority: servers.authority() };
        Ok(Some(receiver::part(&self.options, github, stream.account.as_str(), &nats, &secret)))
    }

    pub(super) async fn make_receiver(&self) -> Result<(), Trouble> {
        self.choose_ports().await?;
        let Some(part) = self.receiver_part(true)? else { return Ok(()) };
        self.control.want(&part).await.map_err(|error| trouble("want the receiver", &error))?;
        let log = self.control.places().log(receiver::PART);
        if self.control.wait(&part, STARTS_WITHIN).await.is_none() {
            return Err(Trouble::new(
                "WL0407",
                "the receiver does not start",
                format!("see {}", log.display()),
            ));
        }
        match part.listens.first() {
            Some(address) => receiver::wait_ready(*address, &log).await,
            None => Ok(()),
        }
    }

    pub(super) async fn remove(
        &self,
        address: &Address,
        body: &Value,
        permission: Permission,
    ) -> Result<(), Trouble> {
        match address.kind {
            Kind::Server => {
                // Whoever is connected to it would only ask for it again and again.
                self.clients.lock().await.clear();
                let ended = self.control.unwant(&address.name).await;
                ended.map_err(|error| trouble("end a server", &error))?;
                // The data stays, under the name that it had: it may be all that there is of it.
                let (cluster, index) = address.name.rsplit_once('-').unwrap_or((&address.name, "0"));
                let home = servers::home(&self.options.directory, cluster, index.parse().unwrap_or(0));
                match std::fs::remove_file(home.join(servers::CONFIG)) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        Err(trouble("remove a server's configuration", &error))
                    }
                    _ => Ok(()),
                }
            }
            Kind::Receiver => {
                self.control.unwant(receiver::PART).await.map_err(|error| trouble("end the receiver", &error))
            }
            Kind::Stream | Kind::Objects | Kind::Kv | Kind::Consumer => {
                let at = stored::Body(body);
                let client = self.need_client(&at.text("account"), &at.text("cluster")).await?;
                match address.kind {
                    Kind::Consumer => stored::delete_consumer(&client, body).await,
                    _ => stored::delete(&client, address, permission).await,
                }
            }
            Kind::User => {
                let (account, user) = address.name.split_once('/').unwrap_or((&address.name, ADMIN));
                authority::remove_user(&self.options, account, user)?;
                self.publish_revocations(account).await
            }
            Kind::Account => {
                authority::put_aside(&self.options, &authority::account_file(&self.options, &address.name))
            }
            Kind::Operator => {
                let jwt = self.options.directory.join("jwt").join("operator.jwt");
                authority::put_aside(&self.options, &jwt)
            }
            Kind::Cluster
            | Kind::Bucket
            | Kind::Namespace
            | Kind::Worker
            | Kind::Secret
            | Kind::Container => Ok(()),
        }
    }
}

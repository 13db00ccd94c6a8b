//! Workers KV: namespaces, and what is in them.

use super::{Call, Client, Error, Method, encode};
use serde::Deserialize;
use serde_json::json;

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Namespace {
    /// Its identifier.
    pub id: String,
    /// Its name.
    pub title: String,
}

/// A key in a list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Key {
    /// The key.
    pub name: String,
}

impl Client {
    /// Every namespace.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn namespaces(&self) -> Result<Vec<Namespace>, Error> {
        let call = Call::new(Method::Get, self.at("storage/kv/namespaces"), "list the KV namespaces");
        self.all(call.query("per_page", "100"), None).await
    }

    /// Makes a namespace, unless it is there; gives its identifier.
    ///
    /// # Errors
    /// When it can neither be made nor found.
    pub async fn ensure_namespace(&self, title: &str) -> Result<String, Error> {
        let of_title = |all: Vec<Namespace>| all.into_iter().find(|one| one.title == title).map(|one| one.id);
        if let Some(id) = of_title(self.namespaces().await?) {
            return Ok(id);
        }
        let what = format!("make the KV namespace {title}");
        let call =
            Call::new(Method::Post, self.at("storage/kv/namespaces"), what).json(json!({ "title": title }));
        match self.get::<Namespace>(&call).await {
            Ok(namespace) => Ok(namespace.id),
            Err(error) if error.is_uncertain() || matches!(error, Error::Taken { .. }) => {
                self.namespaces().await.ok().and_then(of_title).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes a namespace with all that is in it.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub async fn delete_namespace(&self, id: &str) -> Result<(), Error> {
        let path = self.at(&format!("storage/kv/namespaces/{}", encode(id)));
        self.run_or_gone(&Call::new(Method::Delete, path, "delete a KV namespace")).await
    }

    /// The keys of a namespace.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn keys(&self, id: &str) -> Result<Vec<Key>, Error> {
        let path = self.at(&format!("storage/kv/namespaces/{}/keys", encode(id)));
        self.all(Call::new(Method::Get, path, "list the keys of a KV namespace"), None).await
    }

    /// A value, if there is one.
    ///
    /// # Errors
    /// When Cloudflare does not say.
    pub async fn value(&self, id: &str, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.at(&format!("storage/kv/namespaces/{}/values/{}", encode(id), encode(key)));
        match self.raw(&Call::new(Method::Get, path, format!("read the value of {key}"))).await {
            Ok((_, bytes)) => Ok(Some(bytes)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets a value.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn set_value(&self, id: &str, key: &str, value: &str) -> Result<(), Error> {
        let path = self.at(&format!("storage/kv/namespaces/{}/values/{}", encode(id), encode(key)));
        self.run(&Call::new(Method::Put, path, format!("set the value of {key}")).text(value)).await
    }
}

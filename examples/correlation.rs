//! A correlation of one's own: books and their authors become cards and shelves.
//!
//! Shows views, an index, a fetch by key, a count, a group, and a publisher. Run: `cargo run --example correlation`.
//! It prints after each change which inputs run, only those that looked at it, and what comes out different.

use std::sync::Arc;
use std::time::Duration;

use tidegate_actors::correlation::{Collection, Correlation, Graph, Json, OutputBatch, Taps};
use tidegate_actors::id::{ObjectKey, ResourceType, Scope};
use tidegate_actors::informer::InformerFactory;
use tidegate_actors::problem::Problems;
use tidegate_actors::publisher::{self, PublishError, Publisher};
use tidegate_actors::seq::Seq;
use tidegate_actors::supervisor::{Strategy, Supervisor};
use tidegate_actors::testing::{self, MemorySource};

fn kind(name: &str) -> ResourceType {
    ResourceType::new("example.com", "v1", name, &format!("{}s", name.to_lowercase()), Scope::Cluster)
}

/// A view has the fields that are read; a change of any other re-runs nothing.
#[derive(PartialEq, serde::Deserialize)]
struct Book {
    author: String,
}

#[derive(PartialEq, serde::Deserialize)]
struct Author {
    named: String,
}

/// What is made of them. These are handles; the content stays in the graph.
#[derive(Clone, Copy)]
struct Library {
    cards: Collection<ObjectKey, String>,
    shelves: Collection<String, Seq<ObjectKey, ()>>,
}

fn library(graph: &mut Graph) -> Library {
    let books = graph.source::<Json<Book>>(&kind("Book"));
    let authors = graph.source::<Json<Author>>(&kind("Author"));
    let by_author = graph.index(books, |_, book| vec![book.author.clone()]);
    let cards = graph.correlate("cards", books, move |ctx, key, book| {
        println!("  card of {} runs", key.name);
        // That there is no such author yet is remembered as well.
        let author = ctx.fetch(authors, &ObjectKey::cluster(&key.source, &book.author));
        let named = author.as_ref().map_or("nobody known", |author| &author.named);
        vec![(key.clone(), format!("{} by {named} (1 of {})", key.name, ctx.count(by_author, &book.author)))]
    });
    let shelves = graph.group("shelves", books, |key, book| (book.author.clone(), key.clone(), Arc::new(())));
    Library { cards, shelves }
}

struct Printer(Library);

impl Publisher for Printer {
    async fn publish(&mut self, batch: &OutputBatch) -> Result<(), PublishError> {
        for (_, card) in batch.changes(self.0.cards) {
            println!("  => {}", card.new.as_deref().map_or("one card less", String::as_str));
        }
        for (author, shelf) in batch.changes(self.0.shelves) {
            println!("  => {} by {author} on the shelf", shelf.new.as_ref().map_or(0, |shelf| shelf.len()));
        }
        Ok(())
    }
}

fn main() -> anyhow::Result<()> {
    testing::run(async {
        let ((env, _), problems, source) = (testing::env(1), Problems::default(), MemorySource::new("demo"));
        let set = |of: &str, name: &str, body: &str| source.apply(&kind(of), None, name, body);
        set("Book", "emma", r#""author":"austen""#);
        set("Book", "ulysses", r#""author":"joyce""#);
        set("Author", "joyce", r#""named":"James""#);
        let supervisor = Supervisor::start("example", Strategy::OneForOne, env.clone()).await?;
        let factory = InformerFactory::new(env.clone(), supervisor.clone(), problems.clone());
        factory.add_source(Arc::new(source.clone()))?;
        let correlation = Correlation::over_informers("library", &env, &problems, library);
        correlation.follow(&factory, "demo").await?;
        let made = *correlation.handles();
        let taps = |made: &Library| Taps::default().with(made.cards).with(made.shelves);
        supervisor.add(publisher::spec("printer", &env, &correlation, taps, move || Printer(made))).await?;
        supervisor.add(correlation.spec("library")).await?;
        println!("at first:");
        factory.start().await?;
        env.clock.sleep(Duration::from_secs(1)).await;
        for (what, of, name, body) in [
            ("an author comes", "Author", "austen", r#""named":"Jane""#),
            ("one book more", "Book", "persuasion", r#""author":"austen""#),
            ("what no view sees", "Book", "emma", r#""author":"austen","pages":474"#),
        ] {
            println!("{what}:");
            set(of, name, body);
            env.clock.sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    })
}

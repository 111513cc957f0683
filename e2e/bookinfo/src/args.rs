//! The command line and the environment variables that the original services read.

use axum::Router;
use clap::{Parser, ValueEnum};

use crate::{details, productpage, ratings, reviews, upstream::Upstream};

/// What to run and where its neighbours are.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "bookinfo",
    about = "The bookinfo sample services in one binary"
)]
pub struct Args {
    /// The service to be.
    pub service: Service,
    /// The version to be, such as "v1"; reviews and ratings differ by it.
    #[arg(long, env = "SERVICE_VERSION", default_value = "v1")]
    pub version: String,
    /// The port to listen on.
    #[arg(long, default_value_t = 9080)]
    pub port: u16,
    /// A domain that is appended to the names of the neighbours.
    #[arg(long, env = "SERVICES_DOMAIN")]
    pub services_domain: Option<String>,
    /// Host name of details.
    #[arg(long, env = "DETAILS_HOSTNAME", default_value = "details")]
    pub details_hostname: String,
    /// Port of details.
    #[arg(long, env = "DETAILS_SERVICE_PORT", default_value_t = 9080)]
    pub details_port: u16,
    /// Host name of reviews.
    #[arg(long, env = "REVIEWS_HOSTNAME", default_value = "reviews")]
    pub reviews_hostname: String,
    /// Port of reviews.
    #[arg(long, env = "REVIEWS_SERVICE_PORT", default_value_t = 9080)]
    pub reviews_port: u16,
    /// Host name of ratings.
    #[arg(long, env = "RATINGS_HOSTNAME", default_value = "ratings")]
    pub ratings_hostname: String,
    /// Port of ratings.
    #[arg(long, env = "RATINGS_SERVICE_PORT", default_value_t = 9080)]
    pub ratings_port: u16,
    /// The pod's name, shown with the reviews.
    #[arg(long, env = "HOSTNAME", default_value = "localhost")]
    pub pod_name: String,
    /// The cluster's name, shown with the reviews.
    #[arg(long, env = "CLUSTER_NAME")]
    pub cluster_name: Option<String>,
    /// Reviews: whether to ask ratings; by default all versions but v1 do.
    #[arg(long, env = "ENABLE_RATINGS")]
    pub enable_ratings: Option<bool>,
    /// Reviews: the colour of the stars; by default black, and red from v3 on.
    #[arg(long, env = "STAR_COLOR")]
    pub star_color: Option<String>,
}

/// The four services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Service {
    /// The page, which calls details and reviews.
    Productpage,
    /// Facts about a book.
    Details,
    /// Reviews of a book, with stars from ratings.
    Reviews,
    /// Stars for reviews.
    Ratings,
}

impl Args {
    /// The routes of the chosen service.
    pub fn router(&self) -> Router {
        match self.service {
            Service::Productpage => productpage::router(productpage::Neighbours {
                details: self.upstream(&self.details_hostname, self.details_port),
                reviews: self.upstream(&self.reviews_hostname, self.reviews_port),
                ratings: self.upstream(&self.ratings_hostname, self.ratings_port),
            }),
            Service::Details => details::router(),
            Service::Reviews => reviews::router(self.reviews()),
            Service::Ratings => ratings::router(&self.version),
        }
    }

    fn upstream(&self, host: &str, port: u16) -> Upstream {
        match &self.services_domain {
            Some(domain) => Upstream::new(format!("{host}.{domain}"), port),
            None => Upstream::new(host.to_owned(), port),
        }
    }

    fn reviews(&self) -> reviews::Reviews {
        let color = if self.version == "v3" { "red" } else { "black" };
        reviews::Reviews {
            ratings: self
                .enable_ratings
                .unwrap_or(self.version != "v1")
                .then(|| self.upstream(&self.ratings_hostname, self.ratings_port)),
            star_color: self.star_color.clone().unwrap_or_else(|| color.to_owned()),
            pod_name: self.pod_name.clone(),
            cluster_name: self.cluster_name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Args {
        Args::try_parse_from(line.split_whitespace()).unwrap()
    }

    #[test]
    fn the_version_decides_stars_and_colour() {
        let of = |version: &str| {
            let reviews = args(&format!("bookinfo reviews --version {version}")).reviews();
            (reviews.ratings.map(|r| r.authority()), reviews.star_color)
        };
        let ratings = Some("ratings:9080".to_owned());
        assert_eq!(of("v1"), (None, "black".to_owned()));
        assert_eq!(of("v2"), (ratings.clone(), "black".to_owned()));
        assert_eq!(of("v3"), (ratings, "red".to_owned()));
    }

    #[test]
    fn a_services_domain_is_appended() {
        let args = args("bookinfo productpage --services-domain shop.svc");
        assert_eq!(
            args.upstream("details", 80).authority(),
            "details.shop.svc:80"
        );
    }
}

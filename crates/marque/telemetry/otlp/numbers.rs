//! From the metrics as they are scraped to OTLP's, so that both say the same.

use std::collections::BTreeMap;

use marque_spiffe::Clock as _;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};

use super::settings::text;
use crate::clock::SystemClock;
use crate::telemetry::samples::{self, Sample, whole};

/// Nanoseconds since 1970, by the daemon's clock.
pub(super) fn nanoseconds_now() -> u64 {
    u64::try_from(SystemClock.now().as_nanosecond()).unwrap_or(0)
}

/// Every metric of a scrape, as it is at `now` and, where it is counted, since `started`.
pub(super) fn read(scrape: &str, started: u64, now: u64) -> Vec<Metric> {
    let kinds = samples::kinds(scrape);
    let mut families: BTreeMap<&str, Vec<Sample>> = BTreeMap::new();
    for sample in samples::read(scrape) {
        if let Some(family) = family(&sample.name, &kinds) {
            families.entry(family).or_default().push(sample);
        }
    }
    let told = families.into_iter().filter_map(|(name, samples)| {
        let data = match *kinds.get(name)? {
            "counter" => Data::Sum(Sum {
                data_points: samples.iter().map(|one| point(one, started, now)).collect(),
                aggregation_temporality: AggregationTemporality::Cumulative.into(),
                is_monotonic: true,
            }),
            "gauge" => Data::Gauge(Gauge {
                data_points: samples.iter().map(|one| point(one, 0, now)).collect(),
            }),
            "histogram" => Data::Histogram(Histogram {
                data_points: histogram(&samples, name, started, now),
                aggregation_temporality: AggregationTemporality::Cumulative.into(),
            }),
            _ => return None,
        };
        Some(Metric { name: name.to_owned(), data: Some(data), ..Metric::default() })
    });
    told.collect()
}

/// The metric that a line is of: a histogram's has several names.
fn family<'a>(name: &str, kinds: &BTreeMap<&'a str, &'a str>) -> Option<&'a str> {
    let own = |name: &str| kinds.get_key_value(name).map(|(name, _)| *name);
    let part = ["_bucket", "_sum", "_count"].into_iter().find_map(|end| name.strip_suffix(end));
    own(name).or_else(|| own(part?))
}

fn attributes(sample: &Sample) -> Vec<KeyValue> {
    let labels = sample.labels.iter().filter(|(name, _)| *name != "le");
    labels.map(|(name, value)| text(name, value)).collect()
}

fn point(sample: &Sample, started: u64, now: u64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(sample),
        start_time_unix_nano: started,
        time_unix_nano: now,
        value: Some(Value::AsDouble(sample.value)),
        ..NumberDataPoint::default()
    }
}

/// The points of one histogram, one for each set of labels.
fn histogram(samples: &[Sample], name: &str, started: u64, now: u64) -> Vec<HistogramDataPoint> {
    let mut points: BTreeMap<Vec<(&str, &str)>, HistogramDataPoint> = BTreeMap::new();
    let mut below: BTreeMap<Vec<(&str, &str)>, u64> = BTreeMap::new();
    for sample in samples {
        let labels = sample.labels.iter().filter(|(name, _)| *name != "le");
        let labels: Vec<_> = labels.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let point = points.entry(labels.clone()).or_insert_with(|| HistogramDataPoint {
            attributes: attributes(sample),
            start_time_unix_nano: started,
            time_unix_nano: now,
            ..HistogramDataPoint::default()
        });
        match sample.name.strip_prefix(name) {
            Some("_sum") => point.sum = Some(sample.value),
            Some("_count") => point.count = whole(sample.value),
            Some("_bucket") => {
                // Buckets come in their order, each with those below it.
                let below = below.entry(labels).or_default();
                let all = whole(sample.value);
                point.bucket_counts.push(all.saturating_sub(*below));
                *below = all;
                if let Ok(bound) = sample.label("le").parse::<f64>()
                    && bound.is_finite()
                {
                    point.explicit_bounds.push(bound);
                }
            }
            _ => {}
        }
    }
    points.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRAPE: &str = "\
# TYPE a_total counter
a_total{code=\"x\"} 3
# TYPE b gauge
b 1.5
# TYPE c_seconds histogram
c_seconds_bucket{check=\"d\",le=\"0.1\"} 1
c_seconds_bucket{check=\"d\",le=\"1\"} 4
c_seconds_bucket{check=\"d\",le=\"+Inf\"} 5
c_seconds_sum{check=\"d\"} 7.5
c_seconds_count{check=\"d\"} 5
# TYPE d summary
d{quantile=\"0.5\"} 1
";

    #[test]
    fn a_scrape_says_the_same_in_otlp() {
        let read = read(SCRAPE, 1, 2);
        let names: Vec<&str> = read.iter().map(|metric| metric.name.as_str()).collect();
        assert_eq!(names, ["a_total", "b", "c_seconds"]);
        let Some(Data::Sum(sum)) = &read[0].data else { panic!("{read:?}") };
        assert!(sum.is_monotonic);
        assert_eq!(sum.data_points[0].value, Some(Value::AsDouble(3.0)));
        assert_eq!(sum.data_points[0].attributes, [text("code", "x")]);
        let Some(Data::Histogram(histogram)) = &read[2].data else { panic!("{read:?}") };
        let point = &histogram.data_points[0];
        assert_eq!((point.count, point.sum), (5, Some(7.5)));
        assert_eq!(
            (&point.bucket_counts[..], &point.explicit_bounds[..]),
            (&[1, 3, 1][..], &[0.1, 1.0][..])
        );
        assert_eq!(point.attributes, [text("check", "d")]);
    }
}

//! Genuine alerts and hostile ones at a time, for as long as it takes.

pub mod alerts;
pub mod hostility;
pub mod promises;
pub mod readings;
pub mod scene;

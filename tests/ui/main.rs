//! The console as a browser without JavaScript sees it, over a host in memory with scripted plug-ins.

mod attention;
#[path = "../api/latch.rs"]
mod latch;
mod live_log;
mod login;
mod offers;
mod page;
mod pages;
mod rights;
mod show;
mod site;
mod steering;
mod uploads;
mod why;

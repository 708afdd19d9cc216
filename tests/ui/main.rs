//! The console as a browser without JavaScript sees it, over a host in memory with scripted plug-ins.

mod attention;
mod login;
mod offers;
mod page;
mod pages;
mod show;
mod site;
mod steering;
mod uploads;
mod why;
